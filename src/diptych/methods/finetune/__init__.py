"""Systems that move a trained CLIP towards a task or a domain, and the plain ways that they are compared with."""
