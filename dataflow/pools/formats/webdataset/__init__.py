"""WebDataset: tars as samples, samples copied as byte ranges, samples made of the rows of any pool."""
