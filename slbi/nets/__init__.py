"""Networks with a width for every group of filters, and what couples those widths."""
