"""Calls to WPPConnect servers, and what their webhooks mean. Knows nothing of our tables."""
