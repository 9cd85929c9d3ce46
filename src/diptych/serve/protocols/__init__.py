"""The forms of requests and answers that existing clients speak, one module each."""
