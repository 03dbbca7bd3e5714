package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

const held = "SELECT mode || ' ' || classid || ' ' || objid || ' ' || objsubid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 1"

type habit struct {
	ID   uint   `gorm:"primaryKey"`
	Name string `gorm:"uniqueIndex"`
	N    int
}

// habits are cursors, COPY, LISTEN and advisory locks with GORM.
func habits(dsn string) error {
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard, TranslateError: true})
	if err != nil {
		return err
	}
	pool, err := db.DB()
	if err != nil {
		return err
	}
	defer pool.Close()
	pool.SetMaxOpenConns(4)
	if err := db.AutoMigrate(&habit{}); err != nil {
		return err
	}
	many := make([]habit, 200)
	for i := range many {
		many[i] = habit{Name: fmt.Sprint("h", i), N: i}
	}
	say("made", db.CreateInBatches(&many, 50))
	for _, part := range []func(*gorm.DB, *sql.DB) error{cursors, copies, listens, locks} {
		if err := part(db, pool); err != nil {
			return err
		}
	}
	var all []habit
	say("all", db.Order("id").Find(&all))
	fmt.Println(all)
	return nil
}

func cursors(db *gorm.DB, _ *sql.DB) error {
	var batch []habit
	say("in batches", db.Where("n < ?", 100).FindInBatches(&batch, 30, func(tx *gorm.DB, n int) error {
		batch[0].N += 1000
		return tx.Save(&batch[0]).Error
	}))
	rows, err := db.Model(&habit{}).Where("n >= ?", 190).Order("id").Rows()
	if err != nil {
		return err
	}
	for rows.Next() {
		var h habit
		if err := db.ScanRows(rows, &h); err != nil {
			return err
		}
		fmt.Print(h.Name, " ")
	}
	fmt.Println(rows.Close(), rows.Err())
	return db.Transaction(func(tx *gorm.DB) error {
		say("declare", tx.Exec("DECLARE c CURSOR FOR SELECT id, name, n FROM habits ORDER BY id FOR UPDATE"))
		for range 2 {
			var some []habit
			say("fetch", tx.Raw("FETCH 3 FROM c").Scan(&some))
			fmt.Println(some)
			say("beside", tx.Model(&some[0]).Update("n", gorm.Expr("n + ?", 5)))
		}
		say("close", tx.Exec("CLOSE c"))
		return nil
	})
}

// driver gives pgx's own connection under one of the pool's.
func driver(pool *sql.DB, f func(context.Context, *pgx.Conn) error) error {
	ctx := context.Background()
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Raw(func(c any) error { return f(ctx, c.(*stdlib.Conn).Conn()) })
}

func copies(_ *gorm.DB, pool *sql.DB) error {
	return driver(pool, func(ctx context.Context, c *pgx.Conn) error {
		n, err := c.CopyFrom(ctx, pgx.Identifier{"habits"}, []string{"name", "n"}, pgx.CopyFromRows([][]any{{"copied 1", 1}, {"copied 2", 2}}))
		fmt.Println(n, err)
		var out strings.Builder
		tag, err := c.PgConn().CopyTo(ctx, &out, "COPY (SELECT name, n FROM habits WHERE name LIKE 'copied%' ORDER BY 1) TO STDOUT")
		fmt.Println(tag, out.String(), err)
		return nil
	})
}

func listens(db *gorm.DB, pool *sql.DB) error {
	return driver(pool, func(ctx context.Context, c *pgx.Conn) error {
		if _, err := c.Exec(ctx, "LISTEN habits"); err != nil {
			return err
		}
		err := db.Transaction(func(tx *gorm.DB) error {
			say("notify", tx.Exec("SELECT pg_notify('habits', ?)", "hello"))
			say("with a write", tx.Create(&habit{Name: "told"}))
			return nil
		})
		if err != nil {
			return err
		}
		n, err := c.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		fmt.Println(n.Channel, n.Payload)
		_, err = c.Exec(ctx, "UNLISTEN *")
		return err
	})
}

func locks(db *gorm.DB, _ *sql.DB) error {
	show := func(of *gorm.DB) {
		var list []string
		say("held", of.Raw(held).Scan(&list))
		fmt.Println(list)
	}
	return db.Connection(func(one *gorm.DB) error {
		var got bool
		say("lock", one.Raw("SELECT pg_try_advisory_lock(1)").Scan(&got))
		err := one.Transaction(func(tx *gorm.DB) error {
			say("lock of the transaction", tx.Exec("SELECT pg_advisory_xact_lock(2)"))
			say("write", tx.Create(&habit{Name: "locked"}))
			show(tx)
			say("another's", db.Raw("SELECT pg_try_advisory_lock(1) OR pg_try_advisory_xact_lock(2)").Scan(&got))
			fmt.Println(got)
			return nil
		})
		show(one)
		say("unlock", one.Raw("SELECT pg_advisory_unlock(1)").Scan(&got))
		fmt.Println(got)
		show(one)
		return err
	})
}
