"""Sentences that checkout/ and subscriptions/ write in Python, listed for the translators.

Those packages are copied into apps without translations, so they mark nothing. The templates that show such a
sentence translate it. tests/unit/web/test_translations.py finds one that is missing here.
"""

from flask_babel import lazy_gettext as lazy

TEXTS = (
    # checkout/: why an offer cannot be bought
    lazy("This plan cannot be bought here"),
    lazy("There is nothing to pay for this plan."),
    # checkout/: cancelling
    lazy("We have asked for this payment to be cancelled and are waiting for the answer."),
    lazy("This payment cannot be cancelled. The link stays payable until it expires."),
    lazy("The payment page is still being prepared. Try again in a minute."),
    # checkout/: errors
    lazy("Continue"),
    lazy("Payments are not set up here yet."),
    lazy(
        "Our prices are not available at the moment. This request did not charge you. Try again in a minute."
    ),
    lazy("This form was not sent from a page of this site. This request did not charge you."),
    # subscriptions/: invoices and starting
    lazy("This could not be done at the moment. This request did not charge you. Try again in a minute."),
    lazy("No PDF at the moment"),
    lazy("The PDF of this invoice cannot be made at the moment."),
    lazy("This plan has a price"),
    lazy("It cannot be started without a payment."),
    lazy("Your trial is used"),
    lazy("There is one trial per plan. You can buy the plan."),
    # subscriptions/: changes
    lazy("Nothing was changed"),
    lazy("Your plan was not changed"),
    lazy("This plan could not be cancelled now. Try again in a minute."),
    lazy("This could not be undone now. Try again in a minute."),
    lazy("This plan is cancelled for the end of its period. Undo that first."),
    lazy("A change of plan is already planned. Undo that first."),
    lazy("At the renewal only a plan with the same currency and billing period is possible."),
    lazy("You have this plan."),
    lazy("It could not be planned. Nothing was charged. You can change today instead, or contact us."),
    lazy("This plan cannot be changed today."),
    lazy("Pay the open invoice of your plan first."),
    lazy(
        "There is nothing to pay for it today. Change at the renewal, or start it when your plan has ended."
    ),
    lazy("Another change of your plan is waiting for its payment. Cancel that order first."),
    lazy("You have this plan, or an open order for it."),
    lazy("Another change of your plan has just begun."),
)
