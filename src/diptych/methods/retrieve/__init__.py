"""Systems that find and link records: what belongs to this photo, this text, or both?"""
