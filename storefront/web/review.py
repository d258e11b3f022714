"""The review page between Buy and paying: what is bought, when it is charged, and who is on the invoice.

Its form is the one-step `POST /checkout` with billing details beside the offer: `save_billing_details` stores
those before the order is placed. Without them, as from "Try again" on an order's page, nothing is stored.
"""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as lazy
from flask_login import current_user
from flask_wtf import FlaskForm
from werkzeug.datastructures import MultiDict
from wtforms import Field, HiddenField, StringField
from wtforms.validators import DataRequired, Length, ValidationError

from storefront import access
from storefront.accounts.forms import fold_spaces, name_allowed, text
from storefront.checkout import Customer, Offer, context, orders
from storefront.checkout.context import ask, rollback
from storefront.checkout.offers import PlanOnSale
from storefront.extensions import checkout
from storefront.flexprice import FlexpriceError
from storefront.models import MAX_NAME_CHARS
from storefront.web import billing_details
from storefront.web.billing_details import BillingDetails

NOT_SAVED = lazy("We could not save your billing details. This request did not charge you. Try again.")
PRICE_CHANGED = lazy("The price of this plan has changed. Check the new subtotal before you continue.")
bp = Blueprint("review", __name__)


def gstin_allowed(_form: FlaskForm, field: Field) -> None:
    if text(field) and not billing_details.is_gstin(text(field)):
        raise ValidationError(_("This is not a GSTIN. It has 15 characters, such as 27AAPFU0939F1ZV."))


class BillingForm(FlaskForm):
    billing_name = StringField(
        lazy("Name on the invoice"),
        [
            DataRequired(lazy("Enter a name for the invoice.")),
            Length(max=MAX_NAME_CHARS, message=lazy("Use at most %(max)d characters.")),
            name_allowed,
        ],
        filters=[fold_spaces],
    )
    gstin = StringField(
        lazy("GSTIN (optional)"),
        [gstin_allowed],
        filters=[lambda typed: "".join((typed or "").split()).upper()],
    )
    # What the page showed at first: unchanged details need no call, and a purchase waits for nothing else.
    known_name, known_gstin = HiddenField(), HiddenField()

    @property
    def details(self) -> BillingDetails:
        return BillingDetails(text(self.billing_name), text(self.gstin))

    @property
    def is_changed(self) -> bool:
        return self.details != (text(self.known_name), text(self.known_gstin))


@bp.get("/review")
def show() -> ResponseReturnValue:
    """Asks for `plan`, `currency` and `billing_period`, as the form of the one-step purchase does."""
    if not current_user.is_authenticated:
        return redirect(url_for("accounts.sign_up", next=request.full_path), 302)
    plan, offer = chosen(request.args)
    if not offer.buyable or plan.id in orders.owned_plans(current_user.key):
        currency, period = offer.currency, offer.billing_period
        page_of_plan = url_for("checkout.plan", plan_id=plan.id, currency=currency, billing_period=period)
        return redirect(page_of_plan, 302)
    known = billing_details.read(access.customer_of(current_user))
    shown = {"billing_name": known.name, "gstin": known.gstin}
    return page(plan, offer, BillingForm(**shown, known_name=known.name, known_gstin=known.gstin))


@checkout.before_start
def save_billing_details(customer: Customer, offer: Offer) -> ResponseReturnValue | None:
    """Store the billing details of the review page.

    :returns: the page again where something is wrong, or where it showed another price; else None.
    """
    if "billing_name" not in request.form:
        return None
    form = BillingForm()
    plan, _shown = chosen(request.form)
    is_valid = form.validate()
    if request.form.get("reviewed_amount") != str(offer.amount):  # read again since the page was shown
        form.form_errors.append(PRICE_CHANGED)
        is_valid = False
    if not is_valid:
        return page(plan, offer, form), 422
    try:
        if form.is_changed:
            billing_details.save(customer, form.details)
    except FlexpriceError:
        rollback()
        form.form_errors.append(NOT_SAVED)
        return page(plan, offer, form), 503
    return None


def chosen(asked: MultiDict[str, str]) -> tuple[PlanOnSale, Offer]:
    """The plan and the offer that were asked for; 404 where there is none."""
    plan = ask(context.checkout().catalog.current).plan(asked.get("plan", "")) or abort(404)
    return plan, plan.offer(asked.get("currency", ""), asked.get("billing_period", "")) or abort(404)


def page(plan: PlanOnSale, offer: Offer, form: BillingForm) -> str:
    return render_template("checkout/review.html", plan=plan, offer=offer, form=form)
