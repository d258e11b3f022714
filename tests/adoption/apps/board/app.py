"""A notice board in one file: sqlite3, a session cookie, no extension of any kind."""

import os
import sqlite3
from functools import wraps

from flask import Flask, abort, flash, g, redirect, render_template, request, session, url_for
from werkzeug.security import check_password_hash, generate_password_hash

app = Flask(__name__)
app.config.from_mapping(
    SECRET_KEY=os.environ.get("SECRET_KEY", "development only, 32 characters."),
    DATABASE=os.environ.get("BOARD_DATABASE", "board.db"),
)

SCHEMA = """
CREATE TABLE IF NOT EXISTS user (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, email TEXT NOT NULL,
                                 password TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS notice (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES user (id),
                                   body TEXT NOT NULL);
"""


def get_db():
    if "db" not in g:
        g.db = sqlite3.connect(app.config["DATABASE"])
        g.db.row_factory = sqlite3.Row
        g.db.executescript(SCHEMA)
    return g.db


@app.teardown_appcontext
def close_db(_error):
    if (db := g.pop("db", None)) is not None:
        db.close()


@app.before_request
def load_user():
    g.user = None
    if "user_id" in session:
        g.user = get_db().execute("SELECT * FROM user WHERE id = ?", (session["user_id"],)).fetchone()


def signed_in(view):
    @wraps(view)
    def guarded(*args, **kwargs):
        if g.user is None:
            return redirect(url_for("login", next=request.path))
        return view(*args, **kwargs)

    return guarded


@app.get("/")
def index():
    notices = get_db().execute(
        "SELECT notice.*, name FROM notice JOIN user ON user.id = user_id ORDER BY notice.id DESC"
    )
    return render_template("index.html", notices=notices.fetchall())


@app.post("/notices")
@signed_in
def post():
    with get_db() as db:
        db.execute("INSERT INTO notice (user_id, body) VALUES (?, ?)", (g.user["id"], request.form["body"]))
    return redirect(url_for("index"))


@app.route("/register", methods=["GET", "POST"])
def register():
    if request.method == "POST":
        hashed = generate_password_hash(request.form["password"], method="pbkdf2:sha256:1000")
        try:
            with get_db() as db:
                made = db.execute(
                    "INSERT INTO user (name, email, password) VALUES (?, ?, ?)",
                    (request.form["name"], request.form["email"], hashed),
                )
        except sqlite3.IntegrityError:
            flash("This name is taken.")
        else:
            session.clear()
            session["user_id"] = made.lastrowid
            return redirect(url_for("index"))
    return render_template("register.html")


@app.route("/login", methods=["GET", "POST"])
def login():
    if request.method == "POST":
        query = "SELECT * FROM user WHERE name = ?"
        user = get_db().execute(query, (request.form["name"],)).fetchone()
        if user and check_password_hash(user["password"], request.form["password"]):
            session.clear()
            session["user_id"] = user["id"]
            target = request.args.get("next", "")
            return redirect(target if target.startswith("/") and target[:2] != "//" else url_for("index"))
        flash("Incorrect name or password.")
    return render_template("login.html")


@app.post("/logout")
def logout():
    session.clear()
    return redirect(url_for("index"))


@app.get("/notices/<int:notice_id>")
def show(notice_id):
    found = get_db().execute("SELECT * FROM notice WHERE id = ?", (notice_id,)).fetchone() or abort(404)
    return found["body"]


@app.get("/broken")
def broken():
    raise RuntimeError("this page is broken")


@app.errorhandler(404)
def not_found(_error):
    return render_template("error.html", message="No such page on this board."), 404


@app.errorhandler(500)
def failed(_error):
    return "The board fell off the wall.", 500
