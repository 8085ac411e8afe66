"""The accuracy command: our content model and the Bayes filters of others, on the same mail in the same order.  See README.md."""
