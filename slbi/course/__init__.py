"""The whole way of a growth, for any network: rounds, widening, support, tuning."""
