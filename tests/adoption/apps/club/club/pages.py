"""The pages: home, documents, uploads, errors."""

from pathlib import Path

from flask import Blueprint, abort, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required
from sqlalchemy import select
from werkzeug.utils import secure_filename

from club.extensions import db
from club.models import Document

bp = Blueprint("pages", __name__)


@bp.get("/")
def home() -> ResponseReturnValue:
    on_documents_host = request.host.partition(":")[0] == current_app.config["DOCUMENTS_HOST"]
    return render_template("documents_host.html" if on_documents_host else "home.html")


@bp.get("/documents")
@login_required
def documents() -> ResponseReturnValue:
    mine = db.session.scalars(select(Document).where(Document.member_id == current_user.id))
    return render_template("documents.html", documents=mine.all())


@bp.post("/documents")
@login_required
def upload() -> ResponseReturnValue:
    file = request.files.get("file") or abort(400)
    folder = Path(current_app.config["UPLOADS"])
    folder.mkdir(parents=True, exist_ok=True)
    name = secure_filename(file.filename or "unnamed")
    path = folder / f"{current_user.id}-{name}"
    file.save(path)
    db.session.add(Document(member_id=current_user.id, name=name, size=path.stat().st_size))
    db.session.commit()
    return redirect(url_for("pages.documents"))


@bp.get("/broken")
def broken_page() -> ResponseReturnValue:
    raise RuntimeError("this page is broken")


def not_found(_error: Exception) -> ResponseReturnValue:
    return render_template("404.html"), 404


def broken(_error: Exception) -> ResponseReturnValue:
    return render_template("500.html"), 500
