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
    Index("customers_by_external_id", "external_id"),
    Index("customers_published", "external_id", unique=True, sqlite_where=text("status = 'published'")),
)

plans = Table(
    "plans",
    metadata,
    Column("id", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("lookup_key", String, nullable=False, unique=True),
    Column("display_order", Integer, nullable=False),
    Column("body", JSON, nullable=False),
)

prices = Table(
    "prices",
    metadata,
    Column("id", String, primary_key=True),
    Column("entity_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("body", JSON, nullable=False),
    Index("prices_of_a_plan", "entity_id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("checkout_status", String, nullable=False),
    Column("idempotency_key", String),
    Column("link", String, unique=True),
    Column("customer_id", String, index=True),
    Column("subscription_id", String, index=True),
    Column("invoice_id", String, index=True),
    Column("payment_id", String, index=True),
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
    Index("subscriptions_counted", "status", "subscription_status", "id"),
)

invoices = Table(
    "invoices",
    metadata,
    Column("id", String, primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("subscription_id", String, nullable=False),
    Column("invoice_status", String, nullable=False),
    Column("payment_status", String, nullable=False),
    Column("status", String, nullable=False),
    Column("body", JSON, nullable=False),
    Index("invoices_counted", "status", "invoice_status", "payment_status", "id"),
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
    Column("status", String, nullable=False),
    Column("body", JSON, nullable=False),
)

# Where the credits of a plan go, and how they came there.
wallets = Table(
    "wallets",
    metadata,
    Column("id", String, primary_key=True),
    Column("customer_id", String, nullable=False),
    Column("currency", String, nullable=False),
    Column("status", String, nullable=False),
    Column("body", JSON, nullable=False),
    Index("wallets_of_a_customer", "customer_id", "currency", unique=True),
)

transactions = Table(
    "transactions",
    metadata,
    Column("id", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("body", JSON, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", String, primary_key=True),  # the svix-id
    Column("event_type", String, nullable=False),
    Column("entity", String, nullable=False),
    Column("entity_id", String, nullable=False),
    Column("customer_id", String, nullable=False),  # their messages go out one after the other
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
    Column("twist", String),  # what is wrong with it on purpose, see events.PLANS
    Column("claimed_at", Float),  # wall time
    Column("response_status", Integer),
    Column("response_body", Text),
    Column("error", Text),
    Index("deliveries_due", "state", "id"),
)

# Each time a message was sent: exactly what went out and what came back.
attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("delivery_id", Integer, nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("at", Float, nullable=False),  # sandbox time
    Column("took", Float, nullable=False),  # wall seconds
    Column("headers", JSON, nullable=False),
    Column("body", Text, nullable=False),
    Column("response_status", Integer),
    Column("response_body", Text),
    Column("error", Text),
    Column("note", Text),  # what the sandbox did to it
)

# What is to go otherwise than usual: API faults, outcomes of payments, delivery plans.
arrangements = Table(
    "arrangements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", String, nullable=False),  # fault, outcome, completion, delivery
    Column("name", String, nullable=False),
    Column("session", String),  # for this one alone; null: for all
    Column("customer", String),  # either of a customer's two ids; null: for all
    Column("method", String),
    Column("path", String),
    Column("times", Integer),  # how often still; null: until it is taken back
    Column("seconds", Float),
)

# What is to happen later by itself: money that was taken and that Flexprice does not know of yet.
chores = Table(
    "chores",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("due_at", Float, nullable=False, index=True),  # sandbox time
)

# What was done here, by whom: calls to the API, clicks on the payment page.
journal = Table(
    "journal",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),  # sandbox time
    Column("what", String, nullable=False),  # "POST /v1/checkout/sessions", "pay", "decline"
    Column("session_id", String, index=True),
    Column("status", Integer),
    Column("detail", JSON, nullable=False),
)

# How far a tester has come in the guided list.
walks = Table(
    "walks",
    metadata,
    Column("scenario", String, primary_key=True),
    Column("staged_at", Float, nullable=False),  # sandbox time
    Column("since", JSON, nullable=False),  # the newest rows when the stage was set
    Column("seen_at", Float),  # wall time
    Column("evidence", JSON),
)

# What rows were before, for the replica that lags behind.
versions = Table(
    "versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("row", String, nullable=False, index=True),
    Column("at", Float, nullable=False),  # sandbox time
    Column("body", JSON, nullable=False),
)

# Small facts: the clock's offset, how webhooks are signed, the last sweep, the last invoice number.
levers = Table(
    "levers",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", JSON, nullable=False),
)
