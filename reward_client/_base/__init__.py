"""Values that every stage uses: samples, results, options, token IDs."""
