"""A JSON API, for the club's phone app."""

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select

from club.extensions import db
from club.models import Document, Member

bp = Blueprint("api", __name__, url_prefix="/api")


@bp.get("/members/<int:member_id>")
def member(member_id: int) -> ResponseReturnValue:
    found = db.get_or_404(Member, member_id)
    count = db.session.scalar(select(func.count()).where(Document.member_id == member_id))
    return jsonify(id=found.id, name=found.full_name, plan=found.plan, documents=count)


@bp.post("/echo")
def echo() -> ResponseReturnValue:
    return jsonify(request.get_json())
