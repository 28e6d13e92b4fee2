"""The input: files of any format as rows, each a line of JSON."""
