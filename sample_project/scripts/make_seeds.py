"""Write the seeds of the sample project, and Pendo's contents before the first sync.

    python sample_project/scripts/make_seeds.py

The files are checked in: run this only to change them, then correct the numbers in README.md with
count_changes.py. The same Python writes the same bytes every time. Standard library only.

Each row carries `first_day` and `last_day`, the demo days on which the source system holds it (an empty
`last_day`: still there). A change on day 2 is a version that ends on day 1 and another that starts on day 2.
"""

import csv
import json
import random
from datetime import date, datetime, timedelta
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# Pendo drops events older than a week: those of both days are younger, once models/staging/demo_start.sql has moved them.
DAY_1 = datetime(2026, 6, 1)
DAY_2 = datetime(2026, 6, 2)
BOTH_DAYS = {"first_day": 1, "last_day": None}
rng = random.Random(20260601)

FIRST_NAMES = (
    "Zoë José Łukasz Søren Amélie Chloé Jürgen Şebnem Íñigo Anaïs Nina Oscar Priya Hannah Marco Elif Tomás Ingrid "
    "Samuel Aisha Viktor Lucía Mateo Freya Kenji Leila Patrick Sofia Daniel Ruth Pavel Maya"
).split()
LAST_NAMES = (
    "Müller Núñez Wójcik Kjær Dubois Bouvier Groß Yılmaz Etxeberría Novák O'Brien Berg Carter Rossi Haddad Sato "
    "Lindqvist Meyer Silva Okafor Patel Jensen Moreau Costa Fischer Tanaka Brown Kaya Petrov Walsh"
).split()
PRICES = {"free": "0.00", "starter": "19.00", "team": "49.50", "business": "99.99"}
ROLES = ["Analyst", "Engineer", "Designer", "Product manager", "Operations", "Finance"]
CHROME = "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/537.36 Chrome/125.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0"


def stamp(moment):
    """A UTC timestamp without zone, with milliseconds unless they are zero."""
    return moment.isoformat(sep=" ", timespec="milliseconds" if moment.microsecond else "seconds")


def moment_before(day, days_back):
    """A moment of the `days_back` days before `day`, on a whole second three times in four."""
    seconds = rng.randrange(days_back * 86_400)
    milliseconds = rng.choice([0, 0, 0, rng.randrange(1, 1000)])
    return day - timedelta(seconds=seconds, milliseconds=milliseconds)


def change(rows, key, value, **changes):
    """End this version of the row on day 1 and return the version of day 2."""
    [row] = [row for row in rows if row[key] == value and row["last_day"] is None]
    row["last_day"] = 1
    return {**row, **changes, "first_day": 2, "last_day": None}


def write(name, rows):
    """Write one seed; empty cells are nulls."""
    with (PROJECT / "seeds" / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def organisations():
    names = [
        ("Aurora Analytics", "Software", "US"),
        ("Bäckerei Grünwald", "Food", "DE"),
        ("Café Überraschung ☕", "Food", "AT"),
        ("Nordlicht GmbH", "Energy", "DE"),
        ("株式会社さくら", "Retail", "JP"),
        ("Fjord & Sønner", "Logistics", "NO"),
        ("García, Hijos y Cía.", "Retail", "ES"),
        ('The "Quoted" Company', "Media", "GB"),
        ("Iris Health", "Health", None),
        ("Järnvik Robotics", "Manufacturing", "SE"),
        ("Kowalski i Synowie", "Construction", "PL"),
        ("Lumen Labs", None, "FR"),
        ("Meridian Bank", "Finance", "US"),
        ("Nimbus Travel", "Travel", "AU"),
        ("Orchard School", "Education", "CA"),
    ]
    rows = []
    for number, (name, industry, country) in enumerate(names, start=1):
        paying = number not in (12, 15)  # two organisations are on trial: no renewal date
        rows.append({
            "org_id": f"org-{number:02}", "org_name": name, "industry": industry, "country": country,
            "plan": rng.choice(["starter", "team", "business"]) if paying else "trial", "is_paying": str(paying).lower(),
            "renewal_on": date(2026, 7, 1) + timedelta(days=rng.randrange(330)) if paying else None, **BOTH_DAYS,
        })
    # A prospect in the CRM without an id from the product: a null key.
    rows.append({**rows[0], "org_id": None, "org_name": "Prospect Partners", "plan": None, "renewal_on": None,
                 "is_paying": "false"})
    day_2 = [
        change(rows, "org_id", "org-04", org_name="Nordlicht Energie SE"),
        {"org_id": "org-16", "org_name": "Quill & Co", "industry": "Media", "country": "IE", "plan": "starter",
         "is_paying": "true", "renewal_on": date(2027, 6, 2), "first_day": 2, "last_day": None},
    ]
    return rows + day_2


def users():
    rows = []
    names = [f"{first} {last}" for first in FIRST_NAMES for last in LAST_NAMES]
    rng.shuffle(names)

    def user(user_id, org_id, status, **values):
        plan = rng.choice(["free", "starter", "starter", "team", "team", "business"])
        invited = status == "invited"  # never logged in: Pendo has not seen them
        login = moment_before(DAY_1, 60)
        signed_up = date(2023, 1, 1) + timedelta(days=rng.randrange(1_100))
        logins = rng.randrange(1, 400)
        name = names.pop()
        return {
            "user_id": user_id, "org_id": org_id, "full_name": name, "email": None, "role": rng.choice(ROLES),
            "status": status, "plan": None if invited else plan, "mrr_usd": None if invited else PRICES[plan],
            "is_admin": "false", "signed_up_on": signed_up, "last_login_at": None if invited else stamp(login),
            "login_count": 0 if invited else logins, **BOTH_DAYS, **values,
        }

    for number in range(1, 115):
        org = (number - 1) % 15 + 1
        invited = org == 15 or number % 17 == 0  # everyone of org-15 is invited, and a few elsewhere
        status = "invited" if invited else "deactivated" if number % 29 == 0 else "active"
        admin = number <= 15  # the first user of each organisation
        rows.append(user(f"usr-{number:03}", f"org-{org:02}", status, is_admin=str(admin).lower()))
    by_id = {row["user_id"]: row for row in rows}
    by_id["usr-010"].update(org_id=None, is_admin="false")  # two freelancers without an organisation
    by_id["usr-025"].update(org_id=None)
    by_id["usr-020"].update(role=None, is_admin=None)  # imported before roles existed
    by_id["usr-033"].update(signed_up_on=None)
    by_id["usr-040"].update(plan="team", mrr_usd="16.3333333333")  # a third of 49: many decimals
    by_id["usr-041"].update(plan="business", mrr_usd="99.9899999999")
    by_id["usr-050"].update(plan=None, mrr_usd=None)  # churned before day 1
    by_id["usr-059"].update(full_name="李美玲")
    by_id["usr-061"].update(full_name="דנה לוי")
    by_id["usr-071"].update(full_name="Amélie Dubois")
    for user_id in ("usr-002", "usr-018", "usr-032", "usr-046", "usr-063"):  # these change plan on day 2
        by_id[user_id].update(plan="starter", mrr_usd=PRICES["starter"])
    by_id["usr-062"].update(full_name='Robert "Bobby" Tables; --')
    extra = [
        user("USR-031", "org-03", "active", role="Analyst"),  # differs from usr-031 only in case: another person
        user("josé.núñez@example.com", "org-07", "active", full_name="José Núñez"),  # signed in by SSO
        user("_PENDO_T_4fQbGkW2m9c", "org-02", "active", full_name=None, plan=None, mrr_usd=None),  # anonymous
        user(" ", "org-05", "active", full_name="Nina Carter", plan=None, mrr_usd=None),  # blank id
        {**by_id["usr-057"], "role": "Finance", "login_count": 3, "mrr_usd": None},  # the CRM merged two people
        user("usr-116", "org-01", "invited"),
    ]
    rows += extra
    for row in rows:
        if not row["user_id"].startswith("_PENDO_T_"):
            row["email"] = row["user_id"] if "@" in row["user_id"] else f"{row['user_id'].strip() or 'nobody'}@example.com"
    upgraded = {"plan": "business", "mrr_usd": PRICES["business"]}
    day_2 = [
        *(change(rows, "user_id", user_id, **upgraded) for user_id in ("usr-002", "usr-018", "usr-032", "usr-046")),
        change(rows, "user_id", "usr-063", plan=None, mrr_usd=None),  # cancelled: plan is cleared, mrr skipped
        change(rows, "user_id", "usr-071", full_name="Amélie Dubois-Łukasiewicz"),
        change(rows, "user_id", "USR-031", role="Finance"),  # usr-031 does not change
        *(
            change(rows, "user_id", user_id, last_login_at=stamp(DAY_2 - timedelta(minutes=7 * n)),
                   login_count=next(row["login_count"] for row in rows if row["user_id"] == user_id) + n)
            for n, user_id in enumerate(("usr-001", "usr-003", "usr-004", "usr-005", "usr-006"), start=1)
        ),
        change(rows, "user_id", "usr-080", email="new-address@example.com"),  # not mapped: nothing to send
        {**user("usr-117", "org-02", "active", plan="team", mrr_usd=PRICES["team"]), "first_day": 2},
        {**user("usr-118", "org-09", "active", plan="starter", mrr_usd=PRICES["starter"]), "first_day": 2},
        {**user("usr-119", "org-16", "invited"), "first_day": 2},
    ]
    for row in day_2[-3:]:
        row.update(email=f"{row['user_id']}@example.com", signed_up_on=DAY_1.date())
    for row in day_2[-3:-1]:
        row.update(last_login_at=stamp(DAY_2 - timedelta(minutes=3)), login_count=1)
    next(row for row in rows if row["user_id"] == "usr-088")["last_day"] = 1  # deleted on day 2
    return rows + day_2


def invoices(people):
    payers = [row for row in people if row["status"] == "active" and row["org_id"] and row["first_day"] == 1
              and row["user_id"].startswith("usr-") and row["user_id"] not in ("usr-057", "usr-088")]
    rows = []

    def invoice(number, day, status):
        payer = rng.choice(payers)
        issued = moment_before(day - timedelta(days=4), 30)
        paid_at = moment_before(day, (day - DAY_1).days or 4) if status == "paid" else None
        seats = rng.randrange(1, 25)
        price = rng.choice(["19.00", "49.50", "99.99"])
        euro = rng.random() < 0.3
        amount = round(seats * float(price) * (1.0837 if euro else 1.0), 6)
        online = rng.random() < 0.8  # a bank transfer has no browser
        return {
            "invoice_id": f"inv-{number:04}", "org_id": payer["org_id"], "paid_by_user_id": payer["user_id"],
            "status": status, "amount_usd": f"{amount}" if euro else f"{amount:.2f}",
            "billed_in": "EUR" if euro else "USD", "seats": seats, "issued_on": issued.date(),
            "paid_at": stamp(paid_at.replace(microsecond=0)) if paid_at else None,
            "ip_address": f"203.0.113.{rng.randrange(1, 255)}" if online else None,  # an address range for examples
            "user_agent": rng.choice([CHROME, FIREFOX]) if online else None,
            "page_url": "https://app.example.com/billing/checkout" if online else None, **BOTH_DAYS,
        }

    for number in range(1, 201):
        rows.append(invoice(number, DAY_1, "void" if number % 41 == 0 else "open" if number % 9 == 0 else "paid"))
    by_id = {row["invoice_id"]: row for row in rows}
    by_id["inv-0050"].update(amount_usd="1180.3333333333", billed_in="EUR")  # many decimals
    day_2 = [
        change(rows, "invoice_id", f"inv-{number:04}", status="paid", paid_at=stamp(DAY_2 - timedelta(minutes=number)))
        for number in (18, 27, 36)
    ]
    day_2 += [{**invoice(number, DAY_2, "paid" if number < 209 else "open"), "first_day": 2} for number in range(201, 211)]
    return rows + day_2


def usage_events(people):
    active = [row for row in people if row["status"] == "active" and row["first_day"] == 1
              and row["user_id"] not in (" ", "_PENDO_T_4fQbGkW2m9c", "usr-088")]
    features = {
        "Dashboard Viewed": ["Overview", "Übersicht", "レポート", "Churn"],
        "Report Exported": ["PDF", "CSV"],
        "Teammate Invited": [None],
        "Query Run": ["SQL editor", "Explorer"],
    }
    rows = []

    def event(number, person, moment):
        name = rng.choice(list(features))
        return {
            "event_id": f"evt-{number:04}", "user_id": person["user_id"], "org_id": person["org_id"], "event_name": name,
            "feature": rng.choice(features[name]),
            "duration_seconds": rng.randrange(1, 900) if name in ("Dashboard Viewed", "Query Run") else None,
            "occurred_at": stamp(moment), **BOTH_DAYS,
        }

    for number in range(1, 400):
        rows.append(event(number, rng.choice(active), moment_before(DAY_1, 4)))
    by_id = {row["event_id"]: row for row in rows}
    by_id["evt-0101"].update(user_id="_PENDO_T_9sXw1LrT0ae", org_id=None)  # not logged in yet
    by_id["evt-0102"].update(user_id="_PENDO_T_9sXw1LrT0ae", org_id=None)
    by_id["evt-0150"].update(user_id="VISITOR-UNIQUE-ID", org_id=None)  # the install snippet's placeholder
    by_id["evt-0175"].update(user_id=None)
    by_id["evt-0225"].update(occurred_at=None)
    by_id["evt-0250"].update(event_id=None)
    rows.append(dict(by_id["evt-0200"]))  # the tracker sent it twice
    regulars = [row for row in active if row["user_id"] in ("usr-001", "usr-003", "usr-004", "usr-005", "usr-006")]
    day_2 = [
        {**event(number, rng.choice(regulars), moment_before(DAY_2, 1)), "first_day": 2} for number in range(401, 424)
    ]
    # Two that arrive on day 2 but happened days before: a watermark on occurred_at would never send them.
    for number, moment in ((424, datetime(2026, 5, 28, 9, 30)), (425, datetime(2026, 5, 28, 9, 31, 5, 250_000))):
        day_2.append({**event(number, rng.choice(regulars), moment), "first_day": 2})
    return rows + day_2


def subscription(people, orgs):
    """The contents of the demo's Pendo before the first sync; README.md has the rules."""
    seen = [row for row in people if row["status"] != "invited"]
    anonymous = ("_PENDO_T_4fQbGkW2m9c", " ")
    return {
        "fields": {
            "visitor": {"custom": {
                "name": "string", "role": "string", "plan": "string", "mrr": "float", "admin": "boolean",
                "signedup": "time", "lastlogin": "time", "logins": "integer", "source": "string",
            }},
            "account": {"custom": {
                "name": "string", "industry": "string", "country": "string", "plan": "string", "seats": "integer",
                "arr": "float", "paying": "boolean", "renewal": "time",
            }},
        },
        "visitors": sorted({row["user_id"] for row in seen} - set(anonymous)),
        "accounts": sorted({row["org_id"] for row in seen} & {row["org_id"] for row in orgs if row["org_id"]}),
    }


def main():
    orgs = organisations()
    people = users()
    write("raw_organisations.csv", orgs)
    write("raw_users.csv", people)
    write("raw_invoices.csv", invoices(people))
    write("raw_usage_events.csv", usage_events(people))
    known = json.dumps(subscription(people, orgs), ensure_ascii=False, indent=2)
    (PROJECT / "pendo_subscription.json").write_text(known + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
