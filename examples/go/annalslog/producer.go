package annalslog

import (
	"context"
	"math/rand/v2"
	"time"

	annalsv1 "example.com/annals-example/gen/annals/v1"
	"google.golang.org/protobuf/proto"
)

// How long a batch is tried.
const patience = 30 * time.Second

// A Producer appends records, each once, however often that has to be tried.
//
// A node knows a batch again by the producer's id and the number of its first record, also after an election or a restart, and
// answers a repeat with the offsets that the batch has. So one producer sends one batch at a time, and the same bytes again until it
// is answered. A program that starts anew takes a new id. It is not for several goroutines.
type Producer struct {
	log      annalsv1.LogServiceClient
	id       uint64
	sequence uint64
}

// NewProducer makes a producer with an id that nobody has.
func NewProducer(log annalsv1.LogServiceClient) *Producer {
	return &Producer{log: log, id: 1 + rand.Uint64N(1<<63)}
}

// Request is the next batch, to be sent.
func (p *Producer) Request(values ...string) *annalsv1.ProduceRequest {
	records := make([]*annalsv1.Record, len(values))
	for i, value := range values {
		records[i] = &annalsv1.Record{Value: []byte(value)}
	}
	return &annalsv1.ProduceRequest{
		Records:  &annalsv1.RecordSet{Records: records},
		Producer: &annalsv1.Producer{Id: p.id, Sequence: p.sequence},
	}
}

// RequestAt is the next batch, to be stored only if its first record gets this offset: nobody came between. Where somebody did it is
// refused with CONDITION_FAILED.
func (p *Producer) RequestAt(offset uint64, values ...string) *annalsv1.ProduceRequest {
	request := p.Request(values...)
	request.ExpectedOffset = proto.Uint64(offset)
	return request
}

// Send sends a batch until it is answered, for half a minute, or as long as ctx allows. Its records are on the disks of a majority then.
func (p *Producer) Send(ctx context.Context, request *annalsv1.ProduceRequest) (*annalsv1.ProduceResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var tries tries
	for {
		answer, err := p.log.Produce(ctx, request)
		if err == nil {
			p.sequence = request.Producer.Sequence + uint64(len(request.Records.Records))
			return answer, nil
		}
		// Whatever became of it: a repeat stores nothing twice.
		if err := tries.pauseAfter(ctx, err); err != nil {
			return nil, err
		}
	}
}
