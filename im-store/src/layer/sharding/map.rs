use im_core::storage::Bucket;

/// Which database keeps which bucket. A change makes a map with a greater version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketMap {
    version: u64,
    /// One for each bucket.
    databases: Vec<u16>,
}

/// Why a map cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// It names a database that is not there.
    #[error("the map puts bucket {bucket} into database {database}, and there are {databases}")]
    NoSuchDatabase {
        /// The bucket's number.
        bucket: u16,
        /// The database's place in the list.
        database: u16,
        /// How many there are.
        databases: usize,
    },
    /// More databases than buckets, or none.
    #[error("{0} databases cannot share 4096 buckets")]
    Count(usize),
    /// These bytes are no map.
    #[error("these bytes are no map of buckets")]
    Malformed,
}

impl BucketMap {
    /// The first map: buckets in as many runs of equal length as there are databases.
    ///
    /// # Errors
    /// [`MapError::Count`] for none, or for more than there are buckets.
    pub fn even(databases: usize) -> Result<Self, MapError> {
        let count = u16::try_from(databases).ok().filter(|count| (1..=Bucket::COUNT).contains(count));
        let count = u32::from(count.ok_or(MapError::Count(databases))?);
        let of = |bucket: Bucket| u32::from(bucket.number()) * count / u32::from(Bucket::COUNT);
        let databases = Bucket::all().map(|bucket| u16::try_from(of(bucket)).unwrap_or_default());
        Ok(Self { version: 1, databases: databases.collect() })
    }

    /// The same with these buckets in another database, and the next version.
    #[must_use]
    pub fn with(&self, buckets: &[Bucket], database: u16) -> Self {
        let mut databases = self.databases.clone();
        for bucket in buckets {
            if let Some(of) = databases.get_mut(usize::from(bucket.number())) {
                *of = database;
            }
        }
        Self { version: self.version + 1, databases }
    }

    /// Which change made it: the first map has 1.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The place of the database that keeps a bucket.
    pub fn database(&self, bucket: Bucket) -> usize {
        self.databases.get(usize::from(bucket.number())).copied().unwrap_or_default().into()
    }

    /// The map as bytes, to store it: the version, then two bytes a bucket, all big-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let databases = self.databases.iter().flat_map(|database| database.to_be_bytes());
        self.version.to_be_bytes().into_iter().chain(databases).collect()
    }

    /// The map that [`to_bytes`](Self::to_bytes) made these bytes from.
    ///
    /// # Errors
    /// [`MapError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MapError> {
        let (version, rest) = bytes.split_first_chunk().ok_or(MapError::Malformed)?;
        let (databases, rest) = rest.as_chunks::<2>();
        let databases: Vec<_> = databases.iter().map(|bytes| u16::from_be_bytes(*bytes)).collect();
        match rest.is_empty() && databases.len() == usize::from(Bucket::COUNT) {
            true => Ok(Self { version: u64::from_be_bytes(*version), databases }),
            false => Err(MapError::Malformed),
        }
    }

    /// Whether every database that it names is among so many.
    pub(super) fn check(&self, databases: usize) -> Result<(), MapError> {
        let outside = (0..).zip(&self.databases).find(|(_, database)| usize::from(**database) >= databases);
        match outside {
            Some((bucket, database)) => {
                Err(MapError::NoSuchDatabase { bucket, database: *database, databases })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_shared_evenly() {
        for databases in [1, 2, 3, 7, 4_096] {
            let map = BucketMap::even(databases).unwrap();
            let mut counts = vec![0; databases];
            Bucket::all().for_each(|bucket| counts[map.database(bucket)] += 1);
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1, "{databases}: {counts:?}");
        }
        for databases in [0, 4_097, 70_000] {
            assert_eq!(BucketMap::even(databases), Err(MapError::Count(databases)));
        }
    }

    #[test]
    fn a_change_moves_what_it_names_and_raises_the_version() {
        let map = BucketMap::even(2).unwrap();
        let moved = map.with(&[Bucket::new(5).unwrap()], 1);
        let changed = Bucket::all().filter(|bucket| map.database(*bucket) != moved.database(*bucket));
        assert_eq!(changed.map(Bucket::number).collect::<Vec<_>>(), [5]);
        assert_eq!((map.version(), moved.version()), (1, 2));
    }

    #[test]
    fn a_map_survives_its_bytes() {
        let map = BucketMap::even(3).unwrap().with(&[Bucket::new(4_095).unwrap()], 0);
        let bytes = map.to_bytes();
        assert_eq!(BucketMap::from_bytes(&bytes), Ok(map));
        for wrong in [&bytes[1..], &bytes[..7], &[], &[&bytes[..], &[0, 0]].concat()] {
            assert_eq!(BucketMap::from_bytes(wrong), Err(MapError::Malformed));
        }
    }

    #[test]
    fn a_map_that_names_a_database_too_many_is_refused() {
        let map = BucketMap::even(2).unwrap().with(&[Bucket::new(9).unwrap()], 2);
        let expected = MapError::NoSuchDatabase { bucket: 9, database: 2, databases: 2 };
        assert_eq!((map.check(2), map.check(3)), (Err(expected), Ok(())));
    }
}
