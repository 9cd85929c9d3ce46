"""What processes that tests start, kill or watch do."""
