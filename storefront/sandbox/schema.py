"""The sandbox's tables: each row is the object as the API shows it, beside the columns it is looked up by."""

from sqlalchemy import JSON, Column, Float, Index, Integer, MetaData, String, Table, Text, text

metadata = MetaData()

customers = Table(
    "customers",
    metadata,
    Column("id", String, primary_key=True),
    Column("external_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("body", JSON, nullable=False),
    Index("customers_published", "external_id", unique=True, sqlite_where=text("status = 'published'")),
)

plans = Table(
    "plans",
    metadata,
    Column("id", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("lookup_key", String, nullable=False),
    Column("display_order", Integer, nullable=False),
    Column("body", JSON, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("checkout_status", String, nullable=False),
    Column("idempotency_key", String),
    Column("link", String, unique=True),
    Column("lapses", Float, nullable=False),  # expires_at in seconds, for the sweep
    Column("body", JSON, nullable=False),
    # Free again once the session has ended; one key for all customers, as in Flexprice.
    Index(
        "sessions_one_open_per_key",
        "idempotency_key",
        unique=True,
        sqlite_where=text("checkout_status IN ('initiated', 'pending') AND idempotency_key IS NOT NULL"),
    ),
    Index("sessions_to_sweep", "checkout_status", "lapses"),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", String, primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("subscription_status", String, nullable=False),
    Column("status", String, nullable=False),
    Column("body", JSON, nullable=False),
    Index("subscriptions_of_a_customer", "customer_id", "subscription_status"),
)

invoices = Table(
    "invoices",
    metadata,
    Column("id", String, primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("subscription_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("body", JSON, nullable=False),
    Index("invoices_of_a_customer", "customer_id"),
    Index("invoices_of_a_subscription", "subscription_id"),
)

payments = Table(
    "payments",
    metadata,
    Column("id", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("body", JSON, nullable=False),
)

refunds = Table(
    "refunds",
    metadata,
    Column("id", String, primary_key=True),
    Column(
        "payment_id", String, nullable=False, unique=True
    ),  # one refund of a payment, however often it is asked
    Column("body", JSON, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", String, primary_key=True),  # the svix-id
    Column("event_type", String, nullable=False),
    Column("entity", String, nullable=False),
    Column("entity_id", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("body", Text),  # made when it is first delivered, the same for every retry
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("event_id", String, nullable=False, index=True),
    Column("state", String, nullable=False),  # due, held, delivered, dropped, failed
    Column("due_at", Float, nullable=False),  # sandbox time
    Column("attempt", Integer, nullable=False, default=0),
    Column("claimed_at", Float),  # wall time
    Column("response_status", Integer),
    Column("response_body", Text),
    Column("error", Text),
    Index("deliveries_due", "state", "id"),
)

faults = Table(
    "faults",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("fault", String, nullable=False),
    Column("method", String),
    Column("path", String, nullable=False),
    Column("times", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
)

# Small facts: the clock's offset, the webhook mode, the last sweep, the last invoice number.
levers = Table(
    "levers",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", JSON, nullable=False),
)
