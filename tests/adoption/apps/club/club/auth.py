"""Signing up, in and out."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_login import login_user, logout_user
from sqlalchemy import select
from werkzeug.security import check_password_hash, generate_password_hash

from club.extensions import db
from club.models import Member

bp = Blueprint("auth", __name__)


def next_page() -> str:
    wanted = request.values.get("next", "")
    return wanted if wanted.startswith("/") and not wanted.startswith("//") else url_for("pages.home")


@bp.route("/join", methods=["GET", "POST"])
def join() -> ResponseReturnValue:
    if request.method == "POST":
        member = Member(
            full_name=request.form["name"],
            mail=request.form["mail"],
            password_hash=generate_password_hash(request.form["password"], method="pbkdf2:sha256:1000"),
        )
        db.session.add(member)
        db.session.commit()
        login_user(member)
        return redirect(next_page())
    return render_template("auth/join.html")


@bp.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    if request.method == "POST":
        member = db.session.scalar(select(Member).where(Member.mail == request.form["mail"]))
        if member and check_password_hash(member.password_hash, request.form["password"]):
            login_user(member)
            return redirect(next_page())
        flash(_("Incorrect email or password."))
    return render_template("auth/sign_in.html")


@bp.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    logout_user()
    return redirect(url_for("pages.home"))
