"""Each optional package can be deleted, with its line in `create_app`: the shop still sells."""

import shutil
from pathlib import Path

import pytest

from tests.adoption.hosts import Browser, Host, Place, Shop
from tests.adoption.processes import ROOT, SECRET

SIGN_UP = {"name": "Asha Rao", "email": "asha@example.com", "password": "a sentence to remember"}
DEMO = Host("demo", "wsgi", (), "/sign-up", SIGN_UP, migrated=True, layout="", prefix="")
OPTIONAL = ("operations", "emails", "subscriptions", "sandbox")
PARTS = ("storefront", "templates", "static", "wsgi.py", "gunicorn.conf.py")


class DemoPlace(Place):
    """A copy of the shop without one of its packages."""

    def __init__(self, without: str, folder: Path) -> None:
        self.without = without
        super().__init__(
            DEMO,
            folder,
            FLEXPRICE_API_URL="http://127.0.0.1:9/v1",
            FLEXPRICE_API_KEY="sk_sandbox_default",
            FLEXPRICE_WEBHOOK_SECRET=SECRET,
            STOREFRONT_URL="http://127.0.0.1:8000",
            DATABASE_URL=f"sqlite:///{folder}/shop.db",
            MAIL_URL="keep:",
            MAIL_FROM="shop@kestrel.test",
        )

    def copy(self) -> None:
        self.folder.mkdir()
        for part in PARTS:
            if (ROOT / part).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / part, self.folder / part, ignore=ignored)
            else:
                shutil.copy(ROOT / part, self.folder)
        shutil.rmtree(self.folder / "storefront" / self.without)
        factory = self.folder / "storefront" / "__init__.py"
        factory.write_text(factory.read_text().replace(f'        "{self.without}",\n', ""))


class DemoShop(Shop):
    def configure(self) -> None:
        self.place.env["STOREFRONT_URL"] = self.url


@pytest.mark.parametrize("package", [name for name in OPTIONAL if (ROOT / "storefront" / name).exists()])
def test_shop_sells_without(package: str, tmp_path: Path) -> None:
    place = DemoPlace(package, tmp_path / "app")
    assert not (place.folder / "storefront" / package).exists()
    shop = DemoShop(place)
    try:
        browser = Browser(shop)
        order_page = shop.sandbox.pay(browser.buy())
        browser.wait_for(order_page, 'data-phase="ready"')
        assert "Traceback" not in shop.logs()
    finally:
        shop.stop()
