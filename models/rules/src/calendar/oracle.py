"""Writes oracle.csv: calendar parts of times around changes of daylight-saving time, by Python.

    python3 models/rules/src/calendar/oracle.py > models/rules/src/calendar/oracle.csv

Python's zoneinfo reads the machine's zone tables, so the oracle shares no code and no tables with the
program. The zones and years are ones that no newer release of the tables changes.
"""

import datetime
import random
import zoneinfo

UTC = datetime.timezone.utc
# Zone, and UTC times near which its clock changed: (year, month, day, hour).
CHANGES = {
    "Europe/Berlin": [(1980, 4, 6, 1), (2026, 3, 29, 1), (2026, 10, 25, 1), (2030, 3, 31, 1)],
    "Europe/Dublin": [(1971, 10, 31, 2), (2024, 3, 31, 1), (2024, 10, 27, 1)],
    "America/New_York": [(1967, 4, 30, 7), (2026, 3, 8, 7), (2026, 11, 1, 6), (2035, 11, 4, 6)],
    "America/St_Johns": [(2026, 3, 8, 5), (2026, 11, 1, 4)],
    "Australia/Lord_Howe": [(2026, 4, 4, 15), (2026, 10, 3, 15)],
    "Pacific/Apia": [(2011, 12, 30, 10)],
    "Pacific/Chatham": [(2026, 4, 4, 14), (2026, 9, 26, 14)],
    "Asia/Kathmandu": [(1985, 12, 31, 18)],
    "Asia/Kolkata": [(2026, 12, 31, 18)],
    "America/Sao_Paulo": [(2019, 2, 17, 2)],
    "Antarctica/Troll": [(2024, 3, 31, 1)],
    "UTC": [(2024, 2, 29, 0), (1969, 12, 31, 23), (1, 1, 2, 0)],
}


def main():
    draw = random.Random(11)
    print("ms,zone,hours,minutes,seconds,day_of_week,date,month,year,day_of_year,text")
    for zone, changes in CHANGES.items():
        for change in changes:
            centre = int(datetime.datetime(*change, tzinfo=UTC).timestamp()) * 1000
            offsets = [0, -1, 3_600_000, -3_600_000, 1_800_000 - 1]
            offsets += [draw.randrange(-40_000_000, 40_000_000) for _ in range(4)]
            for offset in offsets:
                ms = centre + offset
                at = datetime.datetime(1970, 1, 1, tzinfo=UTC) + datetime.timedelta(milliseconds=ms)
                local = at.astimezone(zoneinfo.ZoneInfo(zone))
                fields = [
                    ms, zone, local.hour, local.minute, local.second, local.isoweekday() % 7,
                    local.day, local.month - 1, local.year, local.timetuple().tm_yday - 1,
                    f"{local.year:04}-{local.month:02}-{local.day:02}",
                ]
                print(",".join(str(field) for field in fields))


main()
