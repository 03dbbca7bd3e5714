-- What the other files rely on. It runs on each server, so nothing here may be drawn.
CREATE TABLE town (id serial PRIMARY KEY, name text NOT NULL UNIQUE, people int CHECK (people >= 0), since timestamptz DEFAULT now());
INSERT INTO town (name, people, since) SELECT 'town ' || n, n * 10, timestamptz '2024-02-29 12:00+00' + n * interval '1 day' FROM generate_series(1, 50) n;
