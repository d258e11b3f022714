"""Signals (blinker) for what happens in the checkout. The sender is your Flask app.

`order_transitioned` is sent inside the transaction, after the UPDATE: a receiver may add rows, and must not
call anybody. The others are sent after the commit; an exception of a receiver is logged, no more.
"""

from blinker import Namespace

_signals = Namespace()

order_transitioned = _signals.signal("order-transitioned")  # order, from_state, to_state, trigger, by
order_needs_attention = _signals.signal("order-needs-attention")  # order (None: no order fits), note
webhook_stored = _signals.signal("webhook-stored")  # event_id, event_type
webhook_rejected = _signals.signal("webhook-rejected")  # error, body, headers, remote_addr
flexprice_called = _signals.signal("flexprice-called")  # call: ApiResponse
worker_ran = _signals.signal("worker-ran")  # processed: int
