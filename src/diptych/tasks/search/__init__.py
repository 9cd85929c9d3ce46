"""An index of photos and other records: built, asked, marked and cut."""
