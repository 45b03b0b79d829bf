"""What was used, by whom, when and for how much. Knows no pictures."""
