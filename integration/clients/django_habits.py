"""Cursors, COPY, LISTEN and advisory locks in Django: python django_habits.py DSN prints
a transcript."""

import sys
from urllib.parse import urlparse

import django
from django.conf import settings

url = urlparse(sys.argv[1])
database = {"ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username or "postgres",
            "PASSWORD": url.password or "", "HOST": url.hostname, "PORT": url.port}
settings.configure(DATABASES={"default": database, "second": dict(database)}, INSTALLED_APPS=[], USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
django.setup()

from django.db import connection, connections, models, transaction  # noqa: E402

HELD = "SELECT mode, classid, objid, objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 1, 2, 3, 4"


class Habit(models.Model):
    name = models.CharField(max_length=30, unique=True)
    n = models.IntegerField(default=0)

    class Meta:
        app_label = "opmux"


def one(sql, *args, using="default"):
    with connections[using].cursor() as c:
        c.execute(sql, args)
        return c.fetchall()


def cursors():
    Habit.objects.bulk_create([Habit(name=f"h{i}", n=i) for i in range(300)])
    # Outside of a transaction Django declares its cursors WITH HOLD.
    rows = Habit.objects.order_by("id").iterator(chunk_size=50)
    print(next(rows).name)
    for habit in rows:
        if habit.n % 100 == 0:
            habit.n = -habit.n
            habit.save()
    with transaction.atomic():
        rows = Habit.objects.filter(n__lt=60).order_by("id").values_list("name", "n").iterator(chunk_size=7)
        print(next(rows), next(rows))
        Habit.objects.create(name="beside")
        with transaction.atomic():
            Habit.objects.filter(name="h5").update(n=500)
        print(len(list(rows)))
    with transaction.atomic():
        print(sum(1 for _ in Habit.objects.select_for_update().filter(n__lt=30).iterator(chunk_size=20)))
    with connection.chunked_cursor() as c:
        c.execute("SELECT id, n FROM opmux_habit ORDER BY id")
        print(c.fetchmany(2), len(c.fetchall()))


def copy():
    with connection.cursor() as c:
        with c.copy("COPY opmux_habit (name, n) FROM STDIN") as rows:
            for i in range(40):
                rows.write_row((f"copied {i}", i))
        print(c.rowcount)
        with c.copy("COPY (SELECT name, n FROM opmux_habit WHERE name LIKE 'copied 3%' ORDER BY 1) TO STDOUT") as rows:
            print(b"".join(bytes(part) for part in rows))


def notifications():
    one_way = connections["second"]
    one_way.ensure_connection()
    one_way.connection.execute("LISTEN habit")
    with transaction.atomic(), connection.cursor() as c:
        c.execute("NOTIFY habit, 'hello'")
        Habit.objects.create(name="told")
    try:
        with transaction.atomic(), connection.cursor() as c:
            c.execute("NOTIFY habit, 'never'")
            raise ValueError
    except ValueError:
        pass
    for notice in one_way.connection.notifies(timeout=10, stop_after=1):
        print(notice.channel, notice.payload)
    one_way.connection.execute("UNLISTEN *")


def locks():
    print(one("SELECT pg_try_advisory_lock(1)"), one("SELECT pg_try_advisory_lock(1)", using="second"))
    with transaction.atomic():
        one("SELECT pg_advisory_xact_lock(%s)", 2)
        Habit.objects.create(name="locked")
        print(one(HELD), one("SELECT pg_try_advisory_xact_lock(2)", using="second"))
    print(one(HELD), one("SELECT pg_try_advisory_xact_lock(2)", using="second"), one(HELD, using="second"))
    print(one("SELECT pg_advisory_unlock(1)"), one("SELECT pg_try_advisory_lock(1)", using="second"), one(HELD, using="second"))


with connection.schema_editor() as editor:
    editor.create_model(Habit)
for part in (cursors, copy, notifications, locks):
    print("==", part.__name__)
    part()
print(list(Habit.objects.order_by("id").values_list("id", "name", "n")))
connections.close_all()
