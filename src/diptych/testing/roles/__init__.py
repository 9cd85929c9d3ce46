"""What each role is asked, one module a role."""
