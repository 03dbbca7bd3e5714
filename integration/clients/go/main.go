// Command gorm prints a transcript of what programs do with GORM. It is a module of
// its own, so that GORM is no dependency of opmux. Arguments: the DSN and, for
// cursors, COPY, LISTEN and locks instead, the word habits.
package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

type author struct {
	ID    uint   `gorm:"primaryKey"`
	Name  string `gorm:"uniqueIndex;size:80"`
	Books []book `gorm:"constraint:OnDelete:CASCADE"`
	Tags  []tag  `gorm:"many2many:author_tags"`
}

type book struct {
	gorm.Model
	AuthorID uint
	Title    string `gorm:"not null"`
	Price    float64
	Sold     int `gorm:"default:3"`
}

type tag struct {
	ID    uint `gorm:"primaryKey"`
	Label string
}

func main() {
	part := run
	if len(os.Args) > 2 && os.Args[2] == "habits" {
		part = habits
	}
	if err := part(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(dsn string) error {
	for i, cfg := range []gorm.Config{{}, {PrepareStmt: true}, {SkipDefaultTransaction: true}} {
		cfg.Logger, cfg.TranslateError = logger.Discard, true
		db, err := gorm.Open(postgres.New(postgres.Config{DSN: dsn, PreferSimpleProtocol: i == 2}), &cfg)
		if err != nil {
			return err
		}
		fmt.Println("==", i)
		if err := features(db); err != nil {
			return err
		}
		pool, err := db.DB()
		if err != nil {
			return err
		}
		if err := pool.Close(); err != nil {
			return err
		}
	}
	return nil
}

func say(what string, db *gorm.DB) { fmt.Println(what, db.RowsAffected, db.Error) }

func features(db *gorm.DB) error {
	if err := db.AutoMigrate(&author{}, &book{}, &tag{}); err != nil {
		return err
	}
	if err := db.AutoMigrate(&author{}, &book{}, &tag{}); err != nil {
		return fmt.Errorf("migrating again: %w", err)
	}
	writes(db)
	upserts(db)
	transactions(db)
	reads(db)
	say("all away", db.Session(&gorm.Session{AllowGlobalUpdate: true}).Unscoped().Delete(&book{}))
	return db.Migrator().DropColumn(&book{}, "Sold")
}

func writes(db *gorm.DB) {
	a := author{Name: "ö " + time.Duration(count(db)).String(), Books: []book{{Title: "one", Price: 1.5}, {Title: "two"}}, Tags: []tag{{Label: "x"}, {Label: "y"}}}
	say("create with associations", db.Create(&a))
	fmt.Println(a.ID, a.Books[0].ID, a.Books[1].Sold, a.Tags[1].ID)
	many := make([]book, 25)
	for i := range many {
		many[i] = book{AuthorID: a.ID, Title: fmt.Sprint("many ", i), Price: float64(i)}
	}
	say("in batches", db.CreateInBatches(&many, 10))
	fmt.Println(many[24].ID - many[0].ID)
	say("save", db.Save(&author{ID: a.ID, Name: a.Name + "!"}))
	say("update one", db.Model(&a.Books[0]).Update("price", gorm.Expr("price + ?", 2)))
	say("update many", db.Model(&book{}).Where("price > ?", 10).Updates(map[string]any{"sold": 9}))
	say("unique", db.Create(&author{Name: a.Name + "!"}))
	say("foreign key", db.Create(&book{AuthorID: 4711, Title: "nobody's"}))
	say("soft delete", db.Where("title = ?", "two").Delete(&book{}))
	say("delete", db.Unscoped().Where("title LIKE ?", "many 1%").Delete(&book{}))
	say("association", db.Session(&gorm.Session{}).Exec("SELECT 1"))
	fmt.Println(db.Model(&a).Association("Tags").Replace(&tag{Label: "z"}))
}

func count(db *gorm.DB) int64 {
	var n int64
	db.Model(&author{}).Count(&n)
	return n
}

func upserts(db *gorm.DB) {
	say("do nothing", db.Clauses(clause.OnConflict{DoNothing: true}).Create(&author{ID: 1, Name: "other"}))
	say("do update", db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"label"})}).
		Create(&[]tag{{ID: 1, Label: "upserted"}, {ID: 500, Label: "new"}}))
	var t tag
	say("first or create", db.Where(tag{Label: "made"}).FirstOrCreate(&t))
	rows := []book{}
	say("returning", db.Model(&rows).Clauses(clause.Returning{Columns: []clause.Column{{Name: "title"}}}).Where("price < ?", 3).Update("sold", 1))
	fmt.Println(len(rows))
}

func transactions(db *gorm.DB) {
	err := db.Transaction(func(tx *gorm.DB) error {
		say("outer", tx.Create(&tag{Label: "outer"}))
		inner := tx.Transaction(func(tx *gorm.DB) error {
			say("inner", tx.Create(&tag{Label: "inner"}))
			return errors.New("inner fails")
		})
		fmt.Println(inner)
		tx.SavePoint("sp")
		say("violation", tx.Create(&tag{ID: 1, Label: "again"}))
		say("back", tx.RollbackTo("sp"))
		var locked author
		say("locking", tx.Clauses(clause.Locking{Strength: "UPDATE"}).Order("id").First(&locked))
		return tx.Model(&locked).Update("name", locked.Name+"+").Error
	})
	fmt.Println(err)
	fmt.Println(db.Transaction(func(tx *gorm.DB) error {
		say("undone", tx.Create(&tag{Label: "undone"}))
		return errors.New("undone")
	}))
}

func reads(db *gorm.DB) {
	var authors []author
	say("preload", db.Preload("Books", func(db *gorm.DB) *gorm.DB { return db.Order("id") }).Preload("Tags").Order("id").Find(&authors))
	for _, a := range authors {
		fmt.Println(a.ID, a.Name, len(a.Books), len(a.Tags))
	}
	var sum float64
	say("scan", db.Raw("SELECT coalesce(sum(price), 0) FROM books WHERE deleted_at IS NULL AND sold = @sold", map[string]any{"sold": 9}).Scan(&sum))
	fmt.Println(sum)
	var labels []string
	say("pluck", db.Model(&tag{}).Order("id").Pluck("label", &labels))
	fmt.Println(labels)
	say("not found", db.First(&author{}, 99999))
}
