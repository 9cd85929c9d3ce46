"""What was fitted and kept in a folder, used by the verb to which it belongs."""
