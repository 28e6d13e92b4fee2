"""Pages of HTML that stand alone: sections with figures, tables and texts."""
