"""Writers, the sources of texts. A text has its writer, prompt and date."""
