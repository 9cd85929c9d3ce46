"""Pictures and pages that several tasks write."""
