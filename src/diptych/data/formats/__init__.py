"""One file a format: what other libraries and data sets write, as samples, streams and typed columns."""
