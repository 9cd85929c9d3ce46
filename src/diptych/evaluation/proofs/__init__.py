"""What each proof runs, as data: which claims at how many shots, and the control that must fail."""
