"""What an audit does with data and models: its parts, findings and pages."""
