"""Writers: where texts come from. Each keeps who wrote a text, to which prompt, and when."""
