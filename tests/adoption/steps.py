"""docs/copying.md, followed in the two host apps: what a person types at each step, as data."""

from dataclasses import dataclass

Command = str  # run in the app's folder


@dataclass(frozen=True)
class NewFile:
    path: str
    text: str


@dataclass(frozen=True)
class Edit:
    """Replaces `old`, which occurs once in the file."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Step:
    heading: str  # as in docs/copying.md
    actions: tuple[Command | NewFile | Edit, ...] = ()


READ_SETTINGS = """    app.config.from_mapping(
        {k: v for k, v in os.environ.items() if k.startswith(("FLEXPRICE_", "CHECKOUT_"))}
    )
"""

CLUB_SHOP = '''"""What the club sells."""

from flask_login import current_user
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from club.extensions import db
from club.models import Document, Member
from club.payments.checkout import Checkout, Customer, OrderMixin, WebhookEventMixin

checkout = Checkout()


class Order(OrderMixin, db.Model):
    member_id: Mapped[int] = mapped_column(ForeignKey("members.id"))


class WebhookEvent(WebhookEventMixin, db.Model):
    pass


@checkout.customer_loader
def load_customer():
    if not current_user.is_authenticated:
        return None
    return Customer(key=f"member-{current_user.id}", name=current_user.full_name, email=current_user.mail)


@checkout.on_order_created
def set_member(order):
    order.member_id = current_user.id


@checkout.on_fulfill
def open_plan(order):
    member = db.session.get(Member, order.member_id)
    member.plan, member.plan_order = order.plan_name, order.ref
    db.session.add(Document(member_id=order.member_id, name="welcome.txt", size=0))


@checkout.on_revoke
def close_plan(order):
    member = db.session.get(Member, order.member_id)
    if member.plan_order == order.ref:
        member.plan = member.plan_order = None
'''

CLUB = (
    Step(
        "1. Copy two folders into one package",
        (
            "mkdir club/payments && touch club/payments/__init__.py",
            'cp -r "$REFERENCE/storefront/flexprice" "$REFERENCE/storefront/checkout" club/payments/',
        ),
    ),
    Step(
        "2. Add two models and four hooks",
        (
            Edit(
                "club/models.py",
                "    joined_at:",
                "    plan_order: Mapped[str | None] = mapped_column(String(32))\n    joined_at:",
            ),
            NewFile("club/shop.py", CLUB_SHOP),
            Edit(
                "club/auth.py",
                "from club.models import Member\n",
                "from club.models import Member\nfrom club.shop import checkout, load_customer\n",
            ),
            Edit(
                "club/auth.py",
                "        db.session.add(member)\n        db.session.commit()\n        login_user(member)\n",
                "        db.session.add(member)\n        db.session.commit()\n        login_user(member)\n"
                "        checkout.ensure_customer(load_customer())\n",
            ),
        ),
    ),
    Step(
        "3. Register it",
        (
            Edit(
                "club/__init__.py",
                "from club.extensions import babel, csrf, db, login, migrate\n",
                "from club.extensions import babel, csrf, db, login, migrate\n"
                "from club.shop import Order, WebhookEvent, checkout\n",
            ),
            Edit(
                "club/__init__.py",
                "    app.register_blueprint(api.bp)\n",
                "    app.register_blueprint(api.bp)\n"
                '    checkout.init_app(app, db, Order, WebhookEvent, url_prefix="/billing")\n',
            ),
            Edit(
                "club/__init__.py",
                "    app.config.from_mapping(config or {})\n",
                '    app.config["CHECKOUT_LAYOUT"] = "layout.html"\n'
                '    app.config["CHECKOUT_LOGIN_ENDPOINT"] = "auth.sign_in"\n'
                + READ_SETTINGS
                + "    app.config.from_mapping(config or {})\n",
            ),
        ),
    ),
    Step(
        "4. Create the tables",
        ('flask --app wsgi db migrate -m "Add checkout"', "flask --app wsgi db upgrade"),
    ),
    Step(
        "5. Fit the pages into yours",
        (
            Edit(
                "club/__init__.py",
                '    response.headers["Content-Security-Policy"] =',
                '    if request.blueprint != "checkout":\n'
                '        response.headers["Content-Security-Policy"] =',
            ),
        ),
    ),
    Step("6. Receive webhooks"),
    Step("7. Run the worker"),
)

BOARD_SHOP = '''"""What the board sells, in a database of its own."""

from types import SimpleNamespace

from flask import g
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

from kiosk.checkout import Checkout, Customer, OrderMixin, WebhookEventMixin

engine = create_engine("sqlite:///orders.db", connect_args={"isolation_level": "IMMEDIATE", "timeout": 5})
db = SimpleNamespace(session=scoped_session(sessionmaker(engine)))
checkout = Checkout()


class Model(DeclarativeBase):
    pass


class Order(OrderMixin, Model):
    user_id: Mapped[int]


class WebhookEvent(WebhookEventMixin, Model):
    pass


class Access(Model):
    __tablename__ = "access"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_ref: Mapped[str]
    user_id: Mapped[int]
    plan: Mapped[str]


@checkout.customer_loader
def load_customer():
    if g.user is None:
        return None
    return Customer(key=f"user-{g.user['id']}", name=g.user["name"], email=g.user["email"])


@checkout.on_order_created
def set_user(order):
    order.user_id = g.user["id"]


@checkout.on_fulfill
def grant_access(order):
    db.session.add(Access(order_ref=order.ref, user_id=order.user_id, plan=order.plan_name))


@checkout.on_revoke
def revoke_access(order):
    db.session.query(Access).filter_by(order_ref=order.ref).delete()
'''

BOARD = (
    Step(
        "1. Copy two folders into one package",
        (
            "mkdir kiosk && touch kiosk/__init__.py",
            'cp -r "$REFERENCE/storefront/flexprice" "$REFERENCE/storefront/checkout" kiosk/',
        ),
    ),
    Step("2. Add two models and four hooks", (NewFile("shop.py", BOARD_SHOP),)),
    Step(
        "3. Register it",
        (
            Edit(
                "app.py",
                "from werkzeug.security import check_password_hash, generate_password_hash\n",
                "from werkzeug.security import check_password_hash, generate_password_hash\n"
                "\nfrom shop import Order, WebhookEvent, checkout, db\n",
            ),
            Edit(
                "app.py",
                '    return "The board fell off the wall.", 500\n',
                '    return "The board fell off the wall.", 500\n\n\n'
                + READ_SETTINGS.replace("\n    ", "\n").strip()
                + '\napp.config["CHECKOUT_LAYOUT"] = "checkout_layout.html"\n'
                'app.config["CHECKOUT_LOGIN_ENDPOINT"] = "login"\n'
                'checkout.init_app(app, db, Order, WebhookEvent, url_prefix="/billing")\n\n\n'
                "@app.teardown_appcontext\ndef end_session(_error):\n    db.session.remove()\n",
            ),
        ),
    ),
    Step(
        "4. Create the tables",
        ('python -c "import shop; shop.Model.metadata.create_all(shop.engine)"',),
    ),
    Step(
        "5. Fit the pages into yours",
        (
            NewFile(
                "templates/checkout_layout.html",
                '{% extends "base.html" %}{% block main %}{% block content %}{% endblock %}{% endblock %}\n',
            ),
        ),
    ),
    Step("6. Receive webhooks"),
    Step("7. Run the worker"),
)
