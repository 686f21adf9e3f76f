// Appends records, reads them, stops, and goes on where it stopped: `go run . ADDRESS`.
//
// With the certificates of `annals init`: ANNALS_CA, ANNALS_CERT and ANNALS_KEY, as for `annals` itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/signal"

	"example.com/annals-example/annalslog"
	annalsv1 "example.com/annals-example/gen/annals/v1"
)

//go:generate go run ./generate

func main() {
	file := flag.String("position", "example.position", "where the reader keeps its place")
	follow := flag.Bool("follow", false, "only read, and go on with each new record until Ctrl-C")
	flag.Parse()
	address := "127.0.0.1:8400"
	if flag.NArg() > 0 {
		address = flag.Arg(0)
	}
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, address, annalslog.Position(*file), *follow)
	if errors.Is(err, annalslog.ErrWrongPlace) {
		log.Fatalf("error: %v; to begin anew, delete %s", err, *file)
	}
	if err != nil && ctx.Err() == nil {
		log.Fatalf("error: %v", err)
	}
}

func run(ctx context.Context, address string, position annalslog.Position, follow bool) error {
	connection, err := annalslog.Connect(address, annalslog.Files{
		CA: os.Getenv("ANNALS_CA"), Certificate: os.Getenv("ANNALS_CERT"), Key: os.Getenv("ANNALS_KEY"),
	})
	if err != nil {
		return err
	}
	defer connection.Close()
	client := annalsv1.NewLogServiceClient(connection)
	if follow {
		return read(ctx, client, position, 0, math.MaxUint64)
	}

	// All three are stored, or none.
	producer := annalslog.NewProducer(client)
	request := producer.Request("an order", "a payment", "a parcel")
	answer, err := producer.Send(ctx, request)
	if err != nil {
		return err
	}
	fmt.Printf("3 records at offsets %d..%d\n", answer.FirstOffset, answer.NextOffset)

	// As though the answer had been lost.
	again, err := producer.Send(ctx, request)
	if err != nil {
		return err
	}
	fmt.Printf("sent again: offsets %d..%d, stored before: %v\n", again.FirstOffset, again.NextOffset, again.Repeated)

	// Only if nobody has appended since; but we have.
	_, err = producer.Send(ctx, producer.RequestAt(answer.FirstOffset, "a second first order"))
	var refused *annalslog.Refused
	if !errors.As(err, &refused) || refused.Reason != "CONDITION_FAILED" {
		return fmt.Errorf("not refused for its condition: %w", err)
	}
	fmt.Printf("refused: %s, the next offset is %s\n", refused.Reason, refused.Metadata["next_offset"])

	// A reader that stops, as in a crash, when it has dealt with two records.
	if err := read(ctx, client, position, answer.FirstOffset, answer.FirstOffset+2); err != nil {
		return err
	}
	answer, err = producer.Send(ctx, producer.Request("a letter"))
	if err != nil {
		return err
	}
	fmt.Printf("1 record at offset %d\n", answer.FirstOffset)

	// The next one goes on behind it, up to the newest.
	return read(ctx, client, position, 0, answer.NextOffset)
}

// Reads from where the reader is, or else from first on, until it has everything below end.
func read(ctx context.Context, client annalsv1.LogServiceClient, position annalslog.Position, first, end uint64) error {
	place, err := position.Load(first)
	if err != nil {
		return err
	}
	for stored, err := range annalslog.Follow(ctx, client, place) {
		if err != nil {
			return err
		}
		fmt.Printf("read %d: %s\n", stored.Offset, stored.Record.Value)
		// Behind what was done about it: after a crash in between it is done again, and never left out.
		if err := position.Save(annalslog.Place{Cluster: stored.Cluster, Offset: stored.Offset + 1}); err != nil {
			return err
		}
		if stored.Offset+1 == end {
			break
		}
	}
	return nil
}
