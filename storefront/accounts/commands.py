"""`flask operator EMAIL`: give somebody the operator's role, or take it away."""

import click
from flask.cli import with_appcontext

from storefront.accounts import service
from storefront.extensions import settings


@click.command("operator")
@click.argument("email")
@click.option("--revoke", is_flag=True, help="Take the role away again.")
@with_appcontext
def operator(email: str, revoke: bool) -> None:
    """Make the user with this address an operator.

    They choose a new password first, by the link that is printed.
    """
    user = service.find(email)
    if user is None:
        raise click.ClickException(f"No account has the address {email}. Sign up with it first.")
    if revoke:
        service.revoke_operator(user)
        click.echo(f"{user.email} is no longer an operator.")
        return
    token = service.make_operator(user)
    click.echo(f"{user.email} is an operator. They choose a new password here (works once, for one hour):")
    click.echo(f"{settings().storefront_url}/reset-password/{token}")
