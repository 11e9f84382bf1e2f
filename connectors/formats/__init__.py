"""One module per message format: an order in, a document out; pure functions that do no I/O."""
