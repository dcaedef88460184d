"""The four stages of the pipeline, in the order of the data: fetch, execute, batch, load."""
