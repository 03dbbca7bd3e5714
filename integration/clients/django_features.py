"""What programs do with Django: the cases of its own tests of transactions (atomic,
savepoints, durability, on_commit) and its ORM. python django_features.py DSN."""

import sys
from urllib.parse import urlparse

import django
from django.conf import settings

url = urlparse(sys.argv[1])
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": url.path[1:], "USER": url.username or "postgres",
                           "PASSWORD": url.password or "", "HOST": url.hostname, "PORT": url.port}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"], USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
django.setup()

from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, IntegrityError, connection, models, transaction  # noqa: E402
from django.db.models import F  # noqa: E402


class Reporter(models.Model):
    first_name = models.CharField(max_length=30, unique=True)
    score = models.IntegerField(default=0)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "opmux"


def names():
    return list(Reporter.objects.order_by("id").values_list("first_name", "score"))


def attempt(body):
    try:
        body()
    except Exception as e:
        print(type(e).__name__, getattr(e.__cause__, "sqlstate", None))
    print(names(), connection.in_atomic_block, connection.get_autocommit())


def nested(outer_fails, inner_fails, savepoint):
    def body():
        with transaction.atomic():
            Reporter.objects.create(first_name="Tintin")
            try:
                with transaction.atomic(savepoint=savepoint):
                    Reporter.objects.create(first_name="Haddock")
                    if inner_fails:
                        raise ValueError("inner")
            except ValueError:
                pass
            if outer_fails:
                raise KeyError("outer")
    attempt(body)
    Reporter.objects.all().delete()


def transactions():
    for savepoint in (True, False):
        for outer in (False, True):
            for inner in (False, True):
                nested(outer, inner, savepoint)

    def broken():
        with transaction.atomic():
            Reporter.objects.create(first_name="Tintin")
            try:
                Reporter.objects.create(first_name="Tintin")
            except IntegrityError as e:
                print(e.__cause__.diag.constraint_name is not None)
            Reporter.objects.count()  # refused: the block is broken
    attempt(broken)

    def recovered():
        with transaction.atomic():
            Reporter.objects.create(first_name="Archibald")
            sid = transaction.savepoint()
            try:
                with transaction.atomic():
                    Reporter.objects.create(id=Reporter.objects.first().id, first_name="Calculus")
            except IntegrityError:
                transaction.savepoint_rollback(sid)
            transaction.on_commit(lambda: print("committed"))
    attempt(recovered)

    def durable():
        with transaction.atomic():
            with transaction.atomic(durable=True):
                pass
    attempt(durable)
    attempt(lambda: transaction.set_rollback(True))
    transaction.set_autocommit(False)
    Reporter.objects.create(first_name="Manual")
    transaction.rollback()
    Reporter.objects.create(first_name="Manual 2")
    transaction.commit()
    transaction.set_autocommit(True)
    with transaction.atomic():
        print(Reporter.objects.select_for_update().get(first_name="Manual 2").first_name)


def orm():
    Reporter.objects.bulk_create([Reporter(first_name=f"bulk {i}", score=i) for i in range(120)], batch_size=50)
    print(Reporter.objects.filter(score__gt=100).update(score=F("score") + 1000))
    some = list(Reporter.objects.order_by("id")[:10])
    for r in some:
        r.score = 7
    print(Reporter.objects.bulk_update(some, ["score"]))
    Reporter.objects.bulk_create([Reporter(first_name="bulk 1", score=5), Reporter(first_name="fresh")], update_conflicts=True,
                                 unique_fields=["first_name"], update_fields=["score"])
    print(Reporter.objects.get_or_create(first_name="bulk 1")[1], Reporter.objects.update_or_create(first_name="up", defaults={"score": 1})[1])
    print(Reporter.objects.filter(first_name__startswith="bulk 9").delete())
    print(sum(1 for _ in Reporter.objects.iterator(chunk_size=20)))
    with connection.cursor() as c:
        c.execute("UPDATE opmux_reporter SET score = score + %s WHERE score = %s", [1, 7])
        print(c.rowcount)
        with c.copy("COPY opmux_reporter (first_name, score, at) FROM STDIN") as copy:
            copy.write_row(("copied", 1, "2026-01-01 00:00:00+00"))
    print(names())


def auth():
    call_command("migrate", verbosity=0)
    call_command("migrate", verbosity=0)
    user = User.objects.create_user("ann", password=None)
    group = Group.objects.create(name="staff")
    group.permissions.set(Permission.objects.order_by("id")[:5])
    user.groups.add(group)
    print(user.get_group_permissions().__len__(), Permission.objects.count(), User.objects.filter(groups__name="staff").count())
    user.delete()
    call_command("migrate", "auth", "zero", verbosity=0)


with connection.schema_editor() as editor:
    editor.create_model(Reporter)
transactions()
orm()
try:
    auth()
except DatabaseError as e:
    print(type(e).__name__, e)
