"""The common part of integrations: options, clients, policies for text and for failures."""
