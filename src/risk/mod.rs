//! Limits on what is traded: pure checks before an order's intent is stored, and the kill switch.
