"""docs/second-month.md, followed in the two host apps after docs/copying.md."""

from tests.adoption.steps import Edit, Step

CLUB_MONTHS = """

class Subscription(SubscriptionMixin, db.Model):
    pass


class Invoice(InvoiceMixin, db.Model):
    pass


class EmailToSend(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    customer: Mapped[str] = mapped_column(String(255))


def member_with(order):
    member = db.session.get(Member, order.member_id)
    return member if member.plan_order == order.ref else None


@subscriptions.on_suspend
def suspend(order):
    if member := member_with(order):
        member.plan_suspended_at = func.now()


@subscriptions.on_resume
def resume(order):
    if member := member_with(order):
        member.plan_suspended_at = None


@subscriptions.on_plan_change
def change_plan(order, plan_id, plan_name):
    if member := member_with(order):
        member.plan = plan_name


def owe_email(app, fact, subscription, invoice, order, **more):
    db.session.add(EmailToSend(kind=str(fact), customer=subscription.customer_key))
"""

CLUB = (
    Step("1. Copy the folder", ('cp -r "$REFERENCE/storefront/subscriptions" club/payments/',)),
    Step(
        "2. Add two models and three hooks",
        (
            Edit(
                "club/models.py",
                "    joined_at:",
                "    plan_suspended_at: Mapped[datetime | None]\n    joined_at:",
            ),
            Edit(
                "club/shop.py",
                "from sqlalchemy import ForeignKey\n",
                "from sqlalchemy import ForeignKey, String, func\n",
            ),
            Edit(
                "club/shop.py",
                "\ncheckout = Checkout()\n",
                "from club.payments.subscriptions import InvoiceMixin, SubscriptionMixin, Subscriptions\n"
                "\ncheckout = Checkout()\nsubscriptions = Subscriptions(checkout)\n",
            ),
            Edit(
                "club/shop.py",
                "    member.plan, member.plan_order = order.plan_name, order.ref\n",
                "    member.plan, member.plan_order = order.plan_name, order.ref\n"
                "    member.plan_suspended_at = None\n",
            ),
            Edit(
                "club/shop.py",
                "        member.plan = member.plan_order = None\n",
                "        member.plan = member.plan_order = None\n" + CLUB_MONTHS,
            ),
        ),
    ),
    Step(
        "3. Register it after the checkout",
        (
            Edit(
                "club/__init__.py",
                "from club.shop import Order, WebhookEvent, checkout\n",
                "from club.shop import Invoice, Order, Subscription, WebhookEvent\n"
                "from club.shop import checkout, owe_email, subscriptions\n",
            ),
            Edit(
                "club/__init__.py",
                '    checkout.init_app(app, db, Order, WebhookEvent, url_prefix="/billing")\n',
                '    checkout.init_app(app, db, Order, WebhookEvent, url_prefix="/billing")\n'
                '    subscriptions.init_app(app, db, Subscription, Invoice, url_prefix="/billing")\n',
            ),
        ),
    ),
    Step(
        "4. Create the tables",
        ('flask --app wsgi db migrate -m "Add subscriptions"', "flask --app wsgi db upgrade"),
    ),
    Step(
        "5. Fit the pages into yours",
        (
            Edit(
                "club/templates/home.html",
                "<p>Your plan: {{ current_user.plan }}</p>",
                "<p>Your plan: {{ current_user.plan }}</p>"
                '<a href="{{ url_for("subscriptions.billing") }}">Billing</a>',
            ),
            Edit(
                "club/__init__.py",
                'if request.blueprint != "checkout":',
                'if request.blueprint not in ("checkout", "subscriptions"):',
            ),
        ),
    ),
    Step("6. Receive more webhooks"),
    Step(
        "7. Write emails",
        (
            Edit(
                "club/__init__.py",
                "from club.shop import Invoice",
                "from club.payments.subscriptions import subscription_news\nfrom club.shop import Invoice",
            ),
            Edit(
                "club/__init__.py",
                "    app.register_error_handler(404,",
                "    subscription_news.connect(owe_email, app)\n    app.register_error_handler(404,",
            ),
        ),
    ),
    Step(
        "8. Live through a month",
        (Edit("club/__init__.py", '"CHECKOUT_"))', '"CHECKOUT_", "CLOCK_FILE"))'),),
    ),
)

BOARD_MONTHS = """

class Subscription(SubscriptionMixin, Model):
    pass


class Invoice(InvoiceMixin, Model):
    pass


class EmailToSend(Model):
    __tablename__ = "email_to_send"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    customer: Mapped[str]


def access_of(order):
    return db.session.query(Access).filter_by(order_ref=order.ref).one()


@subscriptions.on_suspend
def suspend(order):
    access_of(order).suspended_at = func.now()


@subscriptions.on_resume
def resume(order):
    access_of(order).suspended_at = None


@subscriptions.on_plan_change
def change_plan(order, plan_id, plan_name):
    access_of(order).plan = plan_name


def owe_email(app, fact, subscription, invoice, order, **more):
    db.session.add(EmailToSend(kind=str(fact), customer=subscription.customer_key))
"""
ALTER = "ALTER TABLE access ADD COLUMN suspended_at DATETIME"

BOARD = (
    Step("1. Copy the folder", ('cp -r "$REFERENCE/storefront/subscriptions" kiosk/',)),
    Step(
        "2. Add two models and three hooks",
        (
            Edit(
                "shop.py",
                "    plan: Mapped[str]\n",
                "    plan: Mapped[str]\n    suspended_at: Mapped[datetime | None]\n",
            ),
            Edit("shop.py", "from types import", "from datetime import datetime\nfrom types import"),
            Edit(
                "shop.py",
                "from sqlalchemy import create_engine",
                "from sqlalchemy import create_engine, func",
            ),
            Edit(
                "shop.py",
                "\nengine = ",
                "from kiosk.subscriptions import InvoiceMixin, SubscriptionMixin, Subscriptions\n\nengine = ",
            ),
            Edit(
                "shop.py",
                "checkout = Checkout()\n",
                "checkout = Checkout()\nsubscriptions = Subscriptions(checkout)\n",
            ),
            Edit(
                "shop.py",
                "filter_by(order_ref=order.ref).delete()\n",
                "filter_by(order_ref=order.ref).delete()\n" + BOARD_MONTHS,
            ),
        ),
    ),
    Step(
        "3. Register it after the checkout",
        (
            Edit(
                "app.py",
                "from shop import Order, WebhookEvent, checkout, db\n",
                "from shop import Invoice, Order, Subscription, WebhookEvent\n"
                "from shop import checkout, db, owe_email, subscriptions\n",
            ),
            Edit(
                "app.py",
                'checkout.init_app(app, db, Order, WebhookEvent, url_prefix="/billing")\n',
                'checkout.init_app(app, db, Order, WebhookEvent, url_prefix="/billing")\n'
                'subscriptions.init_app(app, db, Subscription, Invoice, url_prefix="/my/plan")\n',
            ),
        ),
    ),
    Step(
        "4. Create the tables",
        (
            'python -c "import shop; shop.Model.metadata.create_all(shop.engine)"',
            f"python -c \"import sqlite3; sqlite3.connect('orders.db').execute('{ALTER}')\"",
        ),
    ),
    Step("5. Fit the pages into yours"),
    Step("6. Receive more webhooks"),
    Step(
        "7. Write emails",
        (
            Edit(
                "app.py",
                "\nfrom shop import Invoice",
                "\nfrom kiosk.subscriptions import subscription_news\nfrom shop import Invoice",
            ),
            Edit(
                "app.py",
                'Invoice, url_prefix="/my/plan")\n',
                'Invoice, url_prefix="/my/plan")\nsubscription_news.connect(owe_email, app)\n',
            ),
        ),
    ),
    Step("8. Live through a month", (Edit("app.py", '"CHECKOUT_"))', '"CHECKOUT_", "CLOCK_FILE"))'),)),
)
