"""The mini family: a small SD1.5 of synthetic scenes, trained with the method, and what it is measured by."""
