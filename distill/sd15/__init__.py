"""The same method on SD1.5 itself: a user's own clips and images, from one CPU to many machines, by accelerate."""
