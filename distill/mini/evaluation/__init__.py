"""What the mini family does to held-out prompts: measured from pixels, cell by cell, as the tables of RESULTS.md."""
