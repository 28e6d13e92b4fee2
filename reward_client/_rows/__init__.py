"""Rows of data sets: the forms that they have, as samples, and the rewards as further columns."""
